// What this tab remembers across a reload, and no longer: the key, and the jobs it has opened.

const KEY = "convnet-kafka.key";
const JOBS = "convnet-kafka.jobs";

export const keptKey = () => sessionStorage.getItem(KEY) ?? "";
export const keepKey = (key) => sessionStorage.setItem(KEY, key);
export const forgetKey = () => sessionStorage.removeItem(KEY);

// A list of {job, chosen, accepted, settled}: how many pictures were chosen for a job, how many of them the server holds, and how many of
// them it holds or will never take.
export function keptJobs() {
  try {
    const jobs = JSON.parse(sessionStorage.getItem(JOBS) ?? "[]");
    return Array.isArray(jobs) ? jobs.filter((each) => typeof each?.job === "string") : [];
  } catch {
    return [];
  }
}

export function keepJobs(jobs) {
  sessionStorage.setItem(JOBS, JSON.stringify(jobs));
}
