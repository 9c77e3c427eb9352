"""OpenAI's API: completions, chat, embeddings, rerank and the list of models."""
