"""Learn: a tour of five steps on one stored localization, and a quiz, beside the page.

In goes a stored result, out comes HTML whose words, numbers and pictures are that result's. To add
a step, write a function that returns a `html.Step` and name it in `steps.steps`.
"""
