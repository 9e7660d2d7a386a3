"""Makes anew what ships and is made from the checkpoints, when their weights have changed.

`manifest.toml` says what there is: results, measures, LoRA files, pictures, each with its command;
`manifest` reads it.
`running` runs what was not made from the present weights, cheap first, and puts it in place;
`record` keeps what was made from what (`cached_results/made.json`), and which result followed
which; `links` follows them in README, documentation, code and tests; `pictures` draws those of the
README. To add something that ships, add it to the manifest; to tell it in the README, add a figure
to `textloc/tiny/figures`.
"""
