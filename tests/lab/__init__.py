"""The laboratory: real kernel, real nft, real nginx, and packets that decide."""
