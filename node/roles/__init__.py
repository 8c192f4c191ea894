"""What a node does on its chain: lead it, follow it, or both at once in a development node."""
