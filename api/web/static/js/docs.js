// The API's documentation, drawn by Swagger UI from the document that the service serves. A classic script: it needs no module.
const theme = localStorage.getItem("colours");
const dark = theme === "dark" || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
document.documentElement.classList.toggle("dark-mode", dark);
window.SwaggerUIBundle({
  url: `${document.documentElement.dataset.root}/openapi.json`,
  domNode: document.getElementById("api"),
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  validatorUrl: null, // no other host is asked
});
