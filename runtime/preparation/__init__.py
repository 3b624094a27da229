"""All that happens to a radiograph between reading and the network, with or without C++."""
