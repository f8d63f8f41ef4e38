// An issuer for tests: npm's oidc-provider, which is certified by the OpenID Foundation, on a free port.
//
// node issuer.mjs ID_TOKEN_SECONDS DEVICE_CODE_SECONDS
//
// Anybody can log in with any password. `ann` is of the group `staff`, everybody else of `guests`.

import { createServer } from "node:http";

import Provider from "oidc-provider";

const [IdToken, DeviceCode] = process.argv.slice(2).map(Number);

const configuration = {
  clients: [
    {
      client_id: "wasm-fn",
      application_type: "native",
      token_endpoint_auth_method: "none",
      grant_types: ["urn:ietf:params:oauth:grant-type:device_code", "authorization_code", "refresh_token"],
      // On the loopback interface any port will do (RFC 8252, section 7.3).
      redirect_uris: ["http://127.0.0.1/ui/"],
      response_types: ["code"],
    },
  ],
  claims: { openid: ["sub", "groups"] },
  // All claims are in the ID token.
  conformIdTokenClaims: false,
  features: { deviceFlow: { enabled: true }, revocation: { enabled: true } },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, groups: [id === "ann" ? "staff" : "guests"] }),
  }),
  ttl: { IdToken, DeviceCode },
};

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const provider = new Provider(`http://127.0.0.1:${server.address().port}`, configuration);
  provider.use(async (ctx, next) => {
    await next();
    // It names no interval, so clients would ask every five seconds (RFC 8628, section 3.2).
    if (ctx.oidc?.route === "device_authorization" && ctx.status === 200) {
      ctx.body.interval = 1;
    }
  });
  server.on("request", provider.callback());
  console.error(`issuer is listening at ${provider.issuer}`);
});
