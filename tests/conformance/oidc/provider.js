// A certified OpenID provider on loopback: node provider.js PORT ISSUER CLIENT_ID SECRET REDIRECT_URI KEYS
import { createHash } from 'node:crypto';
import Provider from 'oidc-provider';

const [port, issuer, clientId, secret, redirectUri, jwks] = process.argv.slice(2);

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: clientId,
      client_secret: secret,
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
      subject_type: 'pairwise',
      id_token_signed_response_alg: JSON.parse(jwks).keys[0].alg,
    },
  ],
  subjectTypes: ['pairwise'],
  pairwiseIdentifier: (_ctx, accountId, client) =>
    createHash('sha256').update(`${client.clientId} ${accountId} salt`).digest('hex'),
  findAccount: (_ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  cookies: { keys: ['not a secret in a test'] },
  jwks: JSON.parse(jwks),
  pkce: { required: () => true },
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256', 'PS256', 'EdDSA'] },
});

provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
