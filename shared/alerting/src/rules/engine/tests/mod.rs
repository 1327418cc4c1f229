mod bounds;
mod labels;
mod reload;
mod restore;
mod schedule;
mod sending;
mod series;
mod states;
