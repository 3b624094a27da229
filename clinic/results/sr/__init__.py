"""The structured report, and the templates that it is made of."""
