"""What a picture says, and how well that is what it should say.

In go pictures and wanted texts, out come readings (`ocr`) and numbers (`metrics`). To add an OCR
engine, write a class with its `read` and name it in `ocr.ENGINES`.
"""
