"""The engine in a process of its own: its client, its messages, and what is known of the bundle."""
