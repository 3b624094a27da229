"""The spool: what was received, what was made of it, and where each object stands."""
