"""Files: the only room of regcore that opens them."""
