"""What the tests of the clinic's page drop on it, and what they see on it."""
