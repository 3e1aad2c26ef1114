// Shows openapi.json from the same server.

// A stream has no end, so Swagger UI would wait for its response forever.
const isEndless = (operation) => operation.getIn(["responses", "200", "content", "text/event-stream"]) !== undefined;

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reader",
  deepLinking: true,
  // Send nothing to other servers.
  validatorUrl: null,
  plugins: [
    {
      statePlugins: {
        spec: {
          wrapSelectors: {
            allowTryItOutFor: (_, { specSelectors }) => (_state, path, method) =>
              !isEndless(specSelectors.specJson().getIn(["paths", path, method])),
          },
        },
      },
    },
  ],
});
