"""Wells, lists of input images, and the tables of a plate."""
