"""A small server of one model, for the programs of one machine: `transformers-jax serve DIR`.

pieces.py   tokens become text as they come; where a text stops
service.py  requests in the slots of a model, by a thread of its own
chat.py     conversations as prompts
schema.py   OpenAI's requests, read strictly
answers.py  OpenAI's answers
http.py     the paths of the server
"""
