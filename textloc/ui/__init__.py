"""The page: one folder a tab, `serving/` for what is served beside Gradio, `runner/` for where runs
are done, and what tabs share.

A tab is `order` (what its form asks for), `picks` and `replay` (from a document to what is shown,
without Gradio or torch) and `tab` (the components and their wires). To add one, copy the smallest
folder and name it in `page`.
"""
