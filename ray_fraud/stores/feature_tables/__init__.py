"""Files of feature tables, named by their digest, and which of them is the newest."""
