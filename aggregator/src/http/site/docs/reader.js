// Shows openapi.json from the same server.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reader",
  deepLinking: true,
  // Send nothing to other servers.
  validatorUrl: null,
});
