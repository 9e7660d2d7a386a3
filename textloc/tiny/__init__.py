"""The checkpoints that ship in `assets/checkpoints`: trained from scratch on rendered scenes.

In goes a family's recipe, out comes an ordinary diffusers folder with its card. `python -m
textloc.tiny` trains, evaluates and makes all that ships anew; nothing else in textloc knows that
they are tiny. To add one, write a recipe in `recipes/`.
"""
