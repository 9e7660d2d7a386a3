"""Rendered scenes with words on them: the data of the tiny checkpoints and of fine-tuning.

In goes a random generator, out come scenes with prompts and pictures (`rendering`), words and
letter strings (`words`), and lessons, lists of both by name (`lessons`). To add an object, draw it
in `rendering`; to add a lesson, name it in `lessons.LESSONS`.
"""
