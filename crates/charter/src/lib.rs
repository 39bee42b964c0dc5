//! Who is who and under which rules: versions, k-of-n signatures, certificate names, quorum policy.
