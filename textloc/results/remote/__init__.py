"""Results that outlive the machine: kept in a store elsewhere, mirrored in a folder here.

In the store lie

- `results/<2 characters>/<id>.zip`, each result whole, as `textloc show ID --zip` packs it;
- `index/<hash>.jsonl`, lines about what was listed and what was deleted, a new file a batch, so
  that two writers never write the same one;
- `claims/<2 characters>/<id>/<hash>`, who may delete an unlisted result (`results.unlisted`).

`stores` has one class a kind of store: a new kind is a class with its methods and a line in
`stores.connect`. `index` reads and writes the lines, `mirror` brings results here and sends them
there.
"""
