"""The API: its routes, what they take and answer, and the OpenAPI file that is made of them."""
