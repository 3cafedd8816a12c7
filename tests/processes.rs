//! Databases and the processes that have them open: forks, limits, other users, other programs.

mod beneath;
mod followers;
mod forks;
mod limits;
mod users;
