// Shows openapi.json, of the same server.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reader",
  deepLinking: true,
  // Nothing is asked of other servers.
  validatorUrl: null,
});
