"""What is kept and shown of a job: stored, drawn, told in sentences, and handed on.

In go documents and pictures, out come folders under a content-addressed ID (`store`, `identity`),
tables and archives (`export`), Plotly figures (`plots`) and `sentences`; `provenance` notes what a
result was made with, `compare` puts two localizations side by side. A new kind of result is one
entry in `store.SCHEMAS` with its table in `export` and its figures in `plots`.
"""
