// Numbers and counts in words.

const NUMBER = new Intl.NumberFormat("en");

export const number = (value) => NUMBER.format(value);

export const pictures = (count) => `${number(count)} ${count === 1 ? "picture" : "pictures"}`;

// Never 100 % for what is only nearly sure.
export function percent(share) {
  const value = Math.floor(share * 1000) / 10;
  return value >= 99.5 ? `${value.toFixed(1)} %` : `${Math.round(share * 100)} %`;
}
