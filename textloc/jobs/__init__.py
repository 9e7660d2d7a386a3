"""What a user asks for, one file a job: localize, edit, suppress, guard, and a LoRA on trial.

In go a model, prompts and how they are sampled; out comes a stream of events, each with a document
that is complete as far as it goes and the pictures that it names. `job` holds what all share,
`choosing` says which layers a job uses, `readings` and `edit_measures` score what was read,
`keeping` finds finished cells again, and `cluster` has them made by a `worker` a device. To add a
job, copy the smallest (`lora_trial`), give its document a schema, and a verb and a tab.
"""
