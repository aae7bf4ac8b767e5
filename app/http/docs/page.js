// Draws /api/openapi.json. `validatorUrl` null: nothing is asked of anybody else.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#page", validatorUrl: null, deepLinking: true });
