// The colours that were chosen, before anything is drawn: a classic script, which the page waits for.
try {
  const chosen = localStorage.getItem("colours");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Where nothing may be kept, the colours are the system's.
}
