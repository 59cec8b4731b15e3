"""Tables, figures and sentences of `finetune`."""
