"""The Suppress tab: toxic words kept out of pictures."""
