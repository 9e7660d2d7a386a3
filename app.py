"""The textloc page: `python app.py`, and what a Space runs."""

from textloc.ui import page

demo = page.build()

if __name__ == "__main__":
    page.launch(demo)
