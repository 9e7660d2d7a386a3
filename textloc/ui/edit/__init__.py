"""The Edit tab: the words of a picture changed, its start steps, the other methods."""
