"""One module per data set; its make() returns the set's arrays. See ../data.py."""
