"""Keys and tokens of PyJWT, as JSON: a key set, good tokens by algorithm, bad
ones by what is wrong with them.
"""

import base64
import hashlib
import hmac
import json
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

CLAIMS = {
    "iss": "https://login.example",
    "aud": ["somebody", "edge"],
    "sub": "u-1",
    "iat": int(time.time()),
    "nbf": int(time.time()),
    "exp": int(time.time()) + 300,
}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def main():
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    p256 = ec.generate_private_key(ec.SECP256R1())
    p384 = ec.generate_private_key(ec.SECP384R1())
    ed = ed25519.Ed25519PrivateKey.generate()
    kinds = {
        "rsa": (rsa_key, RSAAlgorithm, ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
        "p256": (p256, ECAlgorithm, ["ES256"]),
        "p384": (p384, ECAlgorithm, ["ES384"]),
        "ed": (ed, OKPAlgorithm, ["EdDSA"]),
    }
    keys, good = [], {}
    for kid, (key, kind, algorithms) in kinds.items():
        jwk = json.loads(kind.to_jwk(key.public_key()))
        keys.append({**jwk, "kid": kid, "use": "sig"})
        for alg in algorithms:
            good[alg] = jwt.encode(CLAIMS, key, algorithm=alg, headers={"kid": kid})

    def signed(claims, headers):
        return jwt.encode(claims, rsa_key, algorithm="RS256", headers=headers)

    # The public key, which everybody has, as the secret of an HMAC.
    pem = rsa_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = b64(json.dumps({"alg": "HS256", "kid": "rsa"}).encode())
    body = b64(json.dumps(CLAIMS).encode())
    mac = hmac.new(pem, f"{head}.{body}".encode(), hashlib.sha256).digest()
    now = int(time.time())
    bad = {
        "algorithm": f"{head}.{body}.{b64(mac)}",
        "unsigned": jwt.encode(CLAIMS, None, algorithm="none"),
        "key": signed(CLAIMS, {"kid": "p256"}),
        "audience": signed({**CLAIMS, "aud": "somebody"}, {"kid": "rsa"}),
        "issuer": signed({**CLAIMS, "iss": "https://evil.example"}, {"kid": "rsa"}),
        "expired": signed({**CLAIMS, "exp": now - 100}, {"kid": "rsa"}),
        "not_yet": signed({**CLAIMS, "nbf": now + 100}, {"kid": "rsa"}),
        "signature": good["RS256"].rsplit(".", 1)[0] + "." + good["RS384"].rsplit(".", 1)[1],
    }
    print(json.dumps({"keys": {"keys": keys}, "good": good, "bad": bad}))


main()
