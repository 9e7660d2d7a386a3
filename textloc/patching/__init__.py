"""How a run is changed: the only room that installs hooks in a denoiser.

In go runs with patches on them (`textloc.runs`), out come pictures from the pipeline's own call.
`hooks` patches rows of one batch, `injection` puts other words into some layers of any call,
`generation` lays runs out as batches that fit memory, `inversion` follows a picture of one's own.
A way to change a run is a `with` block which leaves the model bit for bit as it was.
"""
