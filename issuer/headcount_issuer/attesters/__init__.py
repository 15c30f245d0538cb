"""The attesters of this issuer, a module each; attester.Attester is what they have in common."""
