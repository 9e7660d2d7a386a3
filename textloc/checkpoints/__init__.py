"""What a checkpoint is: where it is found, how it is loaded, and what its family knows.

In goes a name, a folder or a diffusers pipeline, out comes a `loading.Model`. `known` lists
checkpoints by name, `families` has one file a family of architectures, `loras` puts LoRA files on
a model, `latents` carries pictures into its denoising loop. A known checkpoint is one entry in
`known.KNOWN`; a family is one file in `families/`.
"""
