"""Tables and timings: what the paper measured, beside what is measured here.

In go a model and what to compare, out come rows that a verb prints and `--json` writes; `edit`,
`toxic` and `lora` also make documents to store. To add one, write a module that measures and one
verb in `cli/benches.py`.
"""
