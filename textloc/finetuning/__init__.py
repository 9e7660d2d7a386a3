"""Fine-tune: LoRA on the layers that write the words, and on nothing else (paper, section 5).

`settings` says what is asked, `data` reads samples, `encoded` keeps what the frozen parts of the
checkpoint make of them, `objective` is the loss that its scheduler asks for, `adapter` puts the
LoRA into the denoiser and writes it as a file that diffusers loads, `progress` keeps what a run
needs to go on after it was killed, `training` is the loop, and `card` tells what came of it.
"""
