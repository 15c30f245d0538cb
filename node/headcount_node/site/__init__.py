"""The pages that a node serves: plain HTML that can be read and audited without script, and what makes it more."""
