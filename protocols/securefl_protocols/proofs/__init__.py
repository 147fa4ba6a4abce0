"""Zero-knowledge proofs about masked inputs; needs the extra `proofs`."""
