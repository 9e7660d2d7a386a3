"""The gallery: cards of all stored results, two side by side, one's own to delete or import."""
