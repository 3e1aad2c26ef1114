// The page that asks for a token. A browser does not send the session's cookie when a link of another site is followed, although
// one may be signed in: then the page is loaded again, from here.
const answer = await fetch("health").catch(() => null);
const health = await answer?.json().catch(() => null);
if (health?.access && !document.getElementById("wrong")) location.reload();
