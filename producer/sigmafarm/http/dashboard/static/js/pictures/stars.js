// Ratings of pictures: what is shown on the page, and how a new one is kept. Pages say a rating with data-rating.

export const ratingOf = (job) => Number(document.querySelector(`[data-job="${job}"]`)?.dataset.rating ?? 0);

// Keeps the rating of some jobs, and shows it at once; the server's own words follow by the page's events.
export async function rate(jobs, rating) {
  const body = new URLSearchParams({ csrf_token: document.body.dataset.token ?? "", rating: String(rating) });
  for (const job of jobs) body.append("job", job);
  const answer = await fetch("/ratings", { method: "POST", body, headers: { "HX-Request": "true" } }).catch(() => null);
  if (!answer?.ok) return false;
  for (const job of jobs) {
    for (const each of document.querySelectorAll(`[data-job="${job}"]`)) each.dataset.rating = String(rating);
  }
  return true;
}
