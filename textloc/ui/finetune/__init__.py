"""The Fine-tune tab: comparisons of trainings, and a LoRA beside its base."""
