"""`orthoedge node selftest`: one image through the whole way, and a look whether it arrived."""
