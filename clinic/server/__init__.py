"""The server of the clinic's page: an API under `/api/v1`, and the page's own files."""
